package pggan.app

import android.app.Activity
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Matrix
import android.media.ExifInterface
import android.net.Uri
import android.os.Bundle
import android.view.View
import android.view.ViewGroup
import android.widget.Button
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import java.util.concurrent.Executors

/** The screen: a button that opens a photo, the middle of the photo, and what the network makes of it. */
class MainActivity : Activity() {
    // The network works on a thread of its own, so that the screen does not stand still meanwhile. A thread's work is done in
    // the order in which it was given.
    private val worker = Executors.newSingleThreadExecutor()
    private lateinit var network: Network
    private lateinit var before: ImageView
    private lateinit var after: ImageView
    private lateinit var status: TextView
    private var shown: Uri? = null

    /** Android calls this when the screen is to be shown; saved: what `onSaveInstanceState` has kept. */
    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        worker.execute { network = Network(assets) }
        setContentView(makeScreen())
        saved?.getString("photo")?.let { convert(Uri.parse(it)) }
    }

    /** Android calls this before it ends the screen to make it anew, such as when the phone is turned. */
    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        shown?.let { state.putString("photo", it.toString()) }
    }

    override fun onDestroy() {
        worker.execute { network.close() }
        worker.shutdown()
        super.onDestroy()
    }

    /** Android calls this with what the person has chosen; an app that was asked for photos may see that photo alone. */
    override fun onActivityResult(request: Int, result: Int, chosen: Intent?) {
        super.onActivityResult(request, result, chosen)
        chosen?.data?.let { if (request == OPEN && result == RESULT_OK) convert(it) }
    }

    /** Converts a photo on the worker's thread, then shows it on the screen's. */
    private fun convert(photo: Uri) {
        shown = photo
        status.text = "Working …"
        worker.execute {
            try {
                val square = read(photo)
                val colours = IntArray(network.width * network.height)
                square.getPixels(colours, 0, network.width, 0, 0, network.width, network.height)
                val stage = Facts.SIGNATURES.first()
                val result = toBitmap(network.convert(colours), stage.width, stage.height)
                runOnUiThread {
                    before.setImageBitmap(square)
                    after.setImageBitmap(result)
                    status.text = "${network.width}x${network.height} pixels became ${stage.width}x${stage.height}"
                }
            } catch (error: Exception) {
                runOnUiThread { status.text = "This photo cannot be read (${error.message})." }
            }
        }
    }

    /** Returns the middle of a photo, upright, in the size that the network takes. */
    private fun read(photo: Uri): Bitmap {
        val stream = { requireNotNull(contentResolver.openInputStream(photo)) { "it is gone" } }
        // First the size alone: a large photo is then read at a half, a quarter, ... of it, to save memory.
        val options = BitmapFactory.Options()
        options.inJustDecodeBounds = true
        stream().use { BitmapFactory.decodeStream(it, null, options) }
        options.inSampleSize = maxOf(1, minOf(options.outWidth / network.width, options.outHeight / network.height))
        options.inJustDecodeBounds = false
        val picture = requireNotNull(stream().use { BitmapFactory.decodeStream(it, null, options) }) { "no picture" }
        // A phone writes down how it was held.
        val held = stream().use { ExifInterface(it).getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL) }
        val turn = Matrix()
        when (held) {
            ExifInterface.ORIENTATION_ROTATE_90 -> turn.postRotate(90f)
            ExifInterface.ORIENTATION_ROTATE_180 -> turn.postRotate(180f)
            ExifInterface.ORIENTATION_ROTATE_270 -> turn.postRotate(270f)
        }
        val upright = Bitmap.createBitmap(picture, 0, 0, picture.width, picture.height, turn, true)
        // The largest part in the middle that has the network's shape.
        val scale = minOf(upright.width.toDouble() / network.width, upright.height.toDouble() / network.height)
        val width = (scale * network.width).toInt().coerceIn(1, upright.width)
        val height = (scale * network.height).toInt().coerceIn(1, upright.height)
        val middle = Bitmap.createBitmap(upright, (upright.width - width) / 2, (upright.height - height) / 2, width, height)
        return Bitmap.createScaledBitmap(middle, network.width, network.height, true)
    }

    /** Makes what is seen, from top to bottom. */
    private fun makeScreen(): View {
        val column = LinearLayout(this)
        column.orientation = LinearLayout.VERTICAL
        val margin = (16 * resources.displayMetrics.density).toInt() // 16 dp, a tenth of an inch
        column.setPadding(margin, margin, margin, margin)

        val button = Button(this)
        button.text = "Open a photo"
        button.setOnClickListener {
            val wish = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("image/*")
            startActivityForResult(wish, OPEN)
        }
        status = TextView(this)
        status.text = @INSTRUCTION_QUOTED@
        before = picture(@BEFORE_QUOTED@)
        after = picture(@AFTER_QUOTED@)
        for (view in listOf(button, status, before, after)) {
            column.addView(view, LinearLayout.LayoutParams(ViewGroup.LayoutParams.MATCH_PARENT, ViewGroup.LayoutParams.WRAP_CONTENT))
        }
        val screen = ScrollView(this) // lets small or turned phones reach all of it
        screen.fitsSystemWindows = true // keeps free of the phone's own bars
        screen.addView(column)
        return screen
    }

    /** Makes a place for a picture. about: words for people who hear the screen. */
    private fun picture(about: String): ImageView {
        val view = ImageView(this)
        view.adjustViewBounds = true // as high as the picture's shape asks for
        view.scaleType = ImageView.ScaleType.FIT_CENTER
        view.contentDescription = about
        return view
    }

    private companion object {
        const val OPEN = 1 // the number by which the answer to the button's wish is known
    }
}

package pggan.app

import android.app.Activity
import android.graphics.Bitmap
import android.os.Bundle
import android.view.View
import android.view.ViewGroup
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.SeekBar
import android.widget.Spinner
import android.widget.TextView
import java.util.concurrent.Executors
import kotlin.random.Random

/** The screen: an image, a button for another one, and controls for its size, its variety and its class. */
class MainActivity : Activity() {
    // The network works on a thread of its own, so that the screen does not stand still meanwhile. A thread's work is done in
    // the order in which it was given.
    private val worker = Executors.newSingleThreadExecutor()
    private lateinit var network: Network
    private lateinit var image: ImageView
    private lateinit var status: TextView

    // What is shown.
    private var seed = 0L
    private var stage = Facts.SIGNATURES.first()
    private var variety = 1f
    private var kind = 0
    @Volatile private var newest = 0 // number of the newest wish; drawing for an older one is left out

    /** Android calls this when the screen is to be shown; saved: what `onSaveInstanceState` has kept. */
    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        seed = saved?.getLong("seed") ?: Random.nextLong(1_000_000)
        worker.execute { network = Network(assets) }
        setContentView(makeScreen())
        draw()
    }

    /** Android calls this before it ends the screen to make it anew, such as when the phone is turned. */
    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        state.putLong("seed", seed)
    }

    override fun onDestroy() {
        worker.execute { network.close() }
        worker.shutdown()
        super.onDestroy()
    }

    /** Draws the image on the worker's thread, then shows it on the screen's. */
    private fun draw() {
        // Copies: a control may change what is wanted while the worker still draws.
        val (number, at, how, which) = Wanted(seed, stage, variety, kind)
        status.text = "Seed $number, ${at.width}x${at.height} pixels"
        val mine = ++newest
        worker.execute {
            if (mine < newest) return@execute
            val small = toBitmap(network.draw(at, number, how, which), at.width, at.height)
            // Small images are enlarged with visible pixels: filter = false.
            val times = maxOf(1, 512 / maxOf(at.width, at.height))
            val large = Bitmap.createScaledBitmap(small, times * at.width, times * at.height, false)
            runOnUiThread { image.setImageBitmap(large) }
        }
    }

    private data class Wanted(val seed: Long, val stage: Signature, val variety: Float, val kind: Int)

    /** Makes what is seen, from top to bottom. */
    private fun makeScreen(): View {
        val column = LinearLayout(this)
        column.orientation = LinearLayout.VERTICAL
        val margin = (16 * resources.displayMetrics.density).toInt() // 16 dp, a tenth of an inch
        column.setPadding(margin, margin, margin, margin)

        image = ImageView(this)
        image.adjustViewBounds = true // as high as the image's shape asks for
        image.scaleType = ImageView.ScaleType.FIT_CENTER
        image.contentDescription = @SUBJECT_QUOTED@ // for people who hear the screen
        status = TextView(this)
        val another = Button(this)
        another.text = @BUTTON_QUOTED@
        another.setOnClickListener {
            seed = Random.nextLong(1_000_000)
            draw()
        }
        for (view in listOf(image, status, another)) column.add(view)

        column.add(label("Size in pixels"))
        column.add(choice(Facts.SIGNATURES.map { "${it.width}x${it.height}" }) { stage = Facts.SIGNATURES[it] })
        if ("truncation" in stage.inputs) {
            column.add(label("Variety"))
            column.add(slider { variety = it })
        }
        if (Facts.CLASSES.isNotEmpty()) {
            column.add(label("Kind"))
            column.add(choice(Facts.CLASSES) { kind = it })
        }
        val screen = ScrollView(this) // lets small or turned phones reach all of it
        screen.fitsSystemWindows = true // keeps free of the phone's own bars
        screen.addView(column)
        return screen
    }

    private fun LinearLayout.add(view: View) =
        addView(view, LinearLayout.LayoutParams(ViewGroup.LayoutParams.MATCH_PARENT, ViewGroup.LayoutParams.WRAP_CONTENT))

    private fun label(words: String) = TextView(this).apply { text = words }

    /** Makes a list of words of which one is chosen. chosen: called with its place. */
    private fun choice(words: List<String>, chosen: (Int) -> Unit): View {
        val list = Spinner(this)
        list.adapter = ArrayAdapter(this, android.R.layout.simple_spinner_dropdown_item, words)
        list.onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(parent: AdapterView<*>?, view: View?, place: Int, id: Long) {
                chosen(place)
                draw()
            }

            override fun onNothingSelected(parent: AdapterView<*>?) {}
        }
        return list
    }

    /** Makes a slider from 0 to 1, which begins at 1. moved: called with its value. */
    private fun slider(moved: (Float) -> Unit): View {
        val bar = SeekBar(this)
        bar.max = 20 // steps
        bar.progress = 20
        bar.setOnSeekBarChangeListener(object : SeekBar.OnSeekBarChangeListener {
            override fun onProgressChanged(bar: SeekBar?, step: Int, byPerson: Boolean) {
                moved(step / 20f)
                draw()
            }

            override fun onStartTrackingTouch(bar: SeekBar?) {}

            override fun onStopTrackingTouch(bar: SeekBar?) {}
        })
        return bar
    }
}

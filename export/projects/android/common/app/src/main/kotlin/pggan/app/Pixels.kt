package pggan.app

import android.graphics.Bitmap

/**
 * Turns an image of the network into the colours of a picture, row by row, as Android packs them: 0xAARRGGBB.
 *
 * values: numbers in -1..1, for each pixel as many as there are channels: 1 for gray, 3 for red, green and blue.
 */
fun toColours(values: FloatArray, channels: Int): IntArray =
    IntArray(values.size / channels) { pixel ->
        // -1..1 becomes a whole number 0..255; rint rounds a half to the even number, as the other exports do.
        fun level(channel: Int) =
            Math.rint((values[pixel * channels + channel % channels] * 127.5f + 127.5f).toDouble()).toInt().coerceIn(0, 255)
        (255 shl 24) or (level(0) shl 16) or (level(1) shl 8) or level(2)
    }

/** Makes a picture of colours that an image view can show. */
fun toBitmap(colours: IntArray, width: Int, height: Int): Bitmap =
    Bitmap.createBitmap(colours, width, height, Bitmap.Config.ARGB_8888)

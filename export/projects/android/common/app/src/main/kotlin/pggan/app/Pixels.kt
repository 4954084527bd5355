package pggan.app

import android.graphics.Bitmap

/**
 * Turns an image of the network into the colours of a picture, row by row, as Android packs them: 0xAARRGGBB.
 *
 * values: numbers in -1..1, for each pixel as many as there are channels: 1 for gray, 3 for red, green and blue, and with
 * transparency one more, the last: 2 and 4.
 */
fun toColours(values: FloatArray, channels: Int): IntArray =
    IntArray(values.size / channels) { pixel ->
        // -1..1 becomes a whole number 0..255; rint rounds a half to the even number, as the other exports do.
        fun level(channel: Int) =
            Math.rint((values[pixel * channels + channel] * 127.5f + 127.5f).toDouble()).toInt().coerceIn(0, 255)
        val opacity = if (channels % 2 == 0) level(channels - 1) else 255
        val (green, blue) = if (channels < 3) Pair(0, 0) else Pair(1, 2) // in gray images, all colours are the first channel
        (opacity shl 24) or (level(0) shl 16) or (level(green) shl 8) or level(blue)
    }

/** Makes a picture of colours that an image view can show. */
fun toBitmap(colours: IntArray, width: Int, height: Int): Bitmap =
    Bitmap.createBitmap(colours, width, height, Bitmap.Config.ARGB_8888)

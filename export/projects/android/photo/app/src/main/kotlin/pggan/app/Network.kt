package pggan.app

import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/**
 * The network, which LiteRT runs. Call it from one thread at a time.
 *
 * To use a phone's GPU, add litert-gpu to app/build.gradle.kts and write Options(Accelerator.GPU, Accelerator.CPU) below: what
 * the GPU does not take is then left to the CPU.
 */
class Network(assets: AssetManager) : AutoCloseable {
    private val model = CompiledModel.create(assets, Facts.FILE, CompiledModel.Options(Accelerator.CPU))
    private val signature = Facts.SIGNATURES.first()
    private val input = signature.inputs.keys.single()

    // [1, height, width, channels] of the photo that it takes.
    val height = signature.inputs.getValue(input)[1]
    val width = signature.inputs.getValue(input)[2]
    private val channels = signature.inputs.getValue(input)[3]

    /** Converts a photo and returns the colours of the result. photo: `width` times `height` colours, see `toColours`. */
    fun convert(photo: IntArray): IntArray {
        // A buffer holds the numbers of a picture where the processor wants them.
        val before = model.createInputBuffer(input, signature.name)
        val after = model.createOutputBuffer("image", signature.name)
        try {
            before.writeFloat(toNumbers(photo))
            model.run(mapOf(input to before), mapOf("image" to after), signature.name)
            return toColours(after.readFloat(), signature.channels)
        } finally {
            // Buffers are not Java's memory: they have to be given back.
            before.close()
            after.close()
        }
    }

    /** Returns colours as the network takes them: numbers 0..255, red, green and blue of each pixel, or its gray. */
    private fun toNumbers(photo: IntArray): FloatArray =
        FloatArray(photo.size * channels) { i ->
            val colour = photo[i / channels]
            val rgb = intArrayOf((colour shr 16) and 255, (colour shr 8) and 255, colour and 255)
            // Gray as eyes see it (BT.601), a whole number as in a gray photo.
            if (channels == 1) Math.rint(0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]).toFloat() else rgb[i % channels].toFloat()
        }

    override fun close() = model.close()
}

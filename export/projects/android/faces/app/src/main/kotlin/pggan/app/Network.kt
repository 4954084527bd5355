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

    /**
     * Draws the image of a seed and returns its colours, see `toColours`.
     *
     * stage: the function that draws at one of the sizes.
     * seed: which image, 0 to 4294967295.
     * variety: 0 draws the most usual image, 1 every image that the network knows.
     * kind: number of the class, if the network has classes.
     */
    fun draw(stage: Signature, seed: Long, variety: Float, kind: Int): IntArray {
        // A buffer holds the numbers of an input or of the image where the processor wants them.
        val inputs = stage.inputs.keys.associateWith { model.createInputBuffer(it, stage.name) }
        val image = model.createOutputBuffer("image", stage.name)
        try {
            for ((name, buffer) in inputs) {
                when (name) {
                    "latents" -> buffer.writeFloat(latents(seed, stage.inputs.getValue(name).last()))
                    "truncation" -> buffer.writeFloat(floatArrayOf(variety))
                    "label" -> buffer.writeInt(intArrayOf(kind))
                }
            }
            model.run(inputs, mapOf("image" to image), stage.name)
            return toColours(image.readFloat(), stage.channels)
        } finally {
            // Buffers are not Java's memory: they have to be given back.
            inputs.values.forEach { it.close() }
            image.close()
        }
    }

    override fun close() = model.close()
}

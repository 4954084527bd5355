package pggan.app

// What the file of the network says about itself. pggan export has written these lines from the file's own table of
// signatures: change them only together with the file.

/**
 * A function of the file: its name, the shapes of its inputs by their names, and the size of the image that it returns.
 * The image is float32 [1, height, width, channels] in -1..1.
 */
class Signature(val name: String, val inputs: Map<String, List<Int>>, val height: Int, val width: Int, val channels: Int)

object Facts {
    /** The file, in app/src/main/assets. */
    const val FILE = "generator.tflite"

    /** Its functions, the one of the largest image first. */
    val SIGNATURES = listOf(
@SIGNATURES@
    )@MORE@
}

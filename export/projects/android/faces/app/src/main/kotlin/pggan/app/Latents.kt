package pggan.app

import kotlin.math.PI
import kotlin.math.cos
import kotlin.math.ln
import kotlin.math.sqrt

// From a seed, a whole number, to the random numbers that a face is drawn from. The same seed gives the same face here, on the
// exported page and with `pggan generate`, so no random numbers of Java's are used.

/** Mixes the bits of a number: the last step of the hash function MurmurHash3. */
private fun hash(number: Int): Int {
    var x = number
    x = (x xor (x ushr 16)) * 0x85EBCA6B.toInt()
    x = (x xor (x ushr 13)) * 0xC2B2AE35.toInt()
    return x xor (x ushr 16)
}

/** Returns `size` numbers from the normal distribution N(0, 1). seed: 0 to 4294967295. */
fun latents(seed: Long, size: Int): FloatArray {
    val ofSeed = hash((seed + 0x9E3779B9).toInt())

    /** Returns number i of the seed's even numbers between 0 and 1. */
    fun uniform(i: Int): Double {
        val bits = hash(ofSeed xor hash(i * 0x9E3779B1.toInt() + 1))
        return ((bits.toLong() and 0xFFFFFFFF) + 0.5) / 4294967296.0
    }
    // Box and Muller's way from two even numbers to one of the normal distribution.
    return FloatArray(size) { i -> (sqrt(-2 * ln(uniform(i))) * cos(2 * PI * uniform(size + i))).toFloat() }
}

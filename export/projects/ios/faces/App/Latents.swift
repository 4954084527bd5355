import Foundation

// From a seed, a whole number, to the random numbers that a face is drawn from. The same seed gives the same face here, on the
// exported page and with `pggan generate`, so no random numbers of the system's are used.

/// Mixes the bits of a number: the last step of the hash function MurmurHash3. &* leaves out what does not fit into 32 bits.
private func hash(_ number: UInt32) -> UInt32 {
    var x = number
    x = (x ^ (x >> 16)) &* 0x85EB_CA6B
    x = (x ^ (x >> 13)) &* 0xC2B2_AE35
    return x ^ (x >> 16)
}

/// Returns `size` numbers from the normal distribution N(0, 1).
func latents(seed: UInt32, size: Int) -> [Float] {
    let ofSeed = hash(seed &+ 0x9E37_79B9)

    /// Returns number i of the seed's even numbers between 0 and 1.
    func uniform(_ i: Int) -> Double {
        let bits = hash(ofSeed ^ hash(UInt32(i) &* 0x9E37_79B1 &+ 1))
        return (Double(bits) + 0.5) / 4_294_967_296
    }
    // Box and Muller's way from two even numbers to one of the normal distribution.
    return (0..<size).map { i in Float((-2 * log(uniform(i))).squareRoot() * cos(2 * Double.pi * uniform(size + i))) }
}

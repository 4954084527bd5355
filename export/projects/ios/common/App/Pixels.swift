import CoreGraphics
import Foundation

/// Makes a picture of an image of the network.
///
/// values: numbers 0...255, row by row, for each pixel as many as there are channels: 1 for gray, 3 for red, green and blue,
/// and with transparency one more, the last: 2 and 4.
func toPicture(_ values: [Float], width: Int, height: Int, channels: Int) -> CGImage? {
    var bytes = [UInt8](repeating: 255, count: 4 * width * height) // red, green, blue, and opacity
    // Of each of these four, the channel that it is copied from. Without transparency, all pixels stay opaque.
    let colours = channels < 3 ? [0, 0, 0] : [0, 1, 2]
    let sources = channels % 2 == 0 ? colours + [channels - 1] : colours
    for pixel in 0..<(width * height) {
        for (place, channel) in sources.enumerated() {
            let value = values[pixel * channels + channel]
            bytes[4 * pixel + place] = UInt8(min(max(value.rounded(), 0), 255))
        }
    }
    guard let provider = CGDataProvider(data: Data(bytes) as CFData), let space = CGColorSpace(name: CGColorSpace.sRGB) else {
        return nil
    }
    return CGImage(
        width: width,
        height: height,
        bitsPerComponent: 8,
        bitsPerPixel: 32,
        bytesPerRow: 4 * width,
        space: space,
        bitmapInfo: CGBitmapInfo(rawValue: CGImageAlphaInfo.last.rawValue),
        provider: provider,
        decode: nil,
        shouldInterpolate: false,
        intent: .defaultIntent
    )
}

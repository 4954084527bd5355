import CoreGraphics
import Foundation

/// Makes a picture of an image of the network.
///
/// values: numbers 0...255, row by row, for each pixel as many as there are channels: 1 for gray, 3 for red, green and blue.
func toPicture(_ values: [Float], width: Int, height: Int, channels: Int) -> CGImage? {
    var bytes = [UInt8](repeating: 255, count: 4 * width * height) // red, green, blue, and a byte that is not used
    for pixel in 0..<(width * height) {
        for channel in 0..<3 {
            let value = values[pixel * channels + channel % channels]
            bytes[4 * pixel + channel] = UInt8(min(max(value.rounded(), 0), 255))
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
        bitmapInfo: CGBitmapInfo(rawValue: CGImageAlphaInfo.noneSkipLast.rawValue),
        provider: provider,
        decode: nil,
        shouldInterpolate: false,
        intent: .defaultIntent
    )
}

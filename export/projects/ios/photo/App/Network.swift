import CoreGraphics
import CoreML
import UIKit

/// The network, which Core ML runs on the phone's processor, GPU or Neural Engine. An actor works beside the screen, so that
/// this does not stand still meanwhile, and does one thing after the other.
actor Network {
    private var loaded: MLModel?

    /// Converts a photo. Returns the part of it that was given to the network, and what the network made of it.
    func convert(_ photo: UIImage) async throws -> (before: CGImage?, after: CGImage?) {
        let signature = Facts.signatures[0]
        guard let (name, shape) = signature.inputs.first else { return (nil, nil) }
        let (height, width, channels) = (shape[1], shape[2], shape[3])
        guard let part = cut(photo, width: width, height: height) else { return (nil, nil) }
        let numbers = toNumbers(part, width: width, height: height, channels: channels)
        let input = MLFeatureValue(shapedArray: MLShapedArray<Float>(scalars: numbers, shape: shape))
        let outputs = try await model(signature).prediction(from: MLDictionaryFeatureProvider(dictionary: [name: input]))
        guard let image = outputs.featureValue(for: "image")?.shapedArrayValue(of: Float.self) else { return (part, nil) }
        return (part, toPicture(image.scalars, width: signature.width, height: signature.height, channels: signature.channels))
    }

    /// Returns the function of the package, which is loaded when it is first used.
    private func model(_ signature: Signature) async throws -> MLModel {
        if let loaded { return loaded }
        // Xcode has compiled generator.mlpackage into generator.mlmodelc, which lies in the app.
        guard let place = Bundle.main.url(forResource: Facts.file, withExtension: "mlmodelc") else {
            throw CocoaError(.fileNoSuchFile)
        }
        let configuration = MLModelConfiguration()
        configuration.functionName = signature.name // needs iOS 18
        let model = try await MLModel.load(contentsOf: place, configuration: configuration)
        loaded = model
        return model
    }

    /// Returns the middle of a photo, upright, in the size that the network takes.
    private func cut(_ photo: UIImage, width: Int, height: Int) -> CGImage? {
        let format = UIGraphicsImageRendererFormat()
        format.scale = 1 // one pixel a point
        format.opaque = true
        let size = CGSize(width: width, height: height)
        // The photo is drawn so large that it just covers the size, and in its middle.
        let scale = max(size.width / photo.size.width, size.height / photo.size.height)
        let (wide, high) = (photo.size.width * scale, photo.size.height * scale)
        let place = CGRect(x: (size.width - wide) / 2, y: (size.height - high) / 2, width: wide, height: high)
        return UIGraphicsImageRenderer(size: size, format: format).image { _ in photo.draw(in: place) }.cgImage
    }

    /// Returns a picture as the network takes it: numbers 0...255, red, green and blue of each pixel, or its gray.
    private func toNumbers(_ picture: CGImage, width: Int, height: Int, channels: Int) -> [Float] {
        var bytes = [UInt8](repeating: 0, count: 4 * width * height)
        let drawn = bytes.withUnsafeMutableBytes { memory in
            let context = CGContext(
                data: memory.baseAddress,
                width: width,
                height: height,
                bitsPerComponent: 8,
                bytesPerRow: 4 * width,
                space: CGColorSpaceCreateDeviceRGB(),
                bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue
            )
            context?.draw(picture, in: CGRect(x: 0, y: 0, width: width, height: height))
            return context != nil
        }
        guard drawn else { return [Float](repeating: 0, count: width * height * channels) }
        var numbers: [Float] = []
        numbers.reserveCapacity(width * height * channels)
        for pixel in 0..<(width * height) {
            let rgb = (0..<3).map { Float(bytes[4 * pixel + $0]) }
            if channels == 1 {
                // Gray as eyes see it (BT.601), a whole number as in a gray photo.
                numbers.append((0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]).rounded())
            } else {
                numbers.append(contentsOf: rgb)
            }
        }
        return numbers
    }
}

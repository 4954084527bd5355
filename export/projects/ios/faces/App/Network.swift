import CoreGraphics
import CoreML
import Foundation

/// The network, which Core ML runs on the phone's processor, GPU or Neural Engine. An actor works beside the screen, so that
/// this does not stand still meanwhile, and does one thing after the other.
actor Network {
    private var loaded: [String: MLModel] = [:] // by the names of their functions

    /// Draws the image of a seed.
    ///
    /// - Parameters:
    ///   - stage: the function that draws at one of the sizes.
    ///   - seed: which image.
    ///   - variety: 0 draws the most usual image, 1 every image that the network knows.
    ///   - kind: number of the class, if the network has classes.
    func draw(_ stage: Signature, seed: UInt32, variety: Float, kind: Int) async throws -> CGImage? {
        var inputs: [String: MLFeatureValue] = [:]
        for (name, shape) in stage.inputs {
            switch name {
            case "latents":
                let numbers = latents(seed: seed, size: shape[1])
                inputs[name] = MLFeatureValue(shapedArray: MLShapedArray<Float>(scalars: numbers, shape: shape))
            case "truncation":
                inputs[name] = MLFeatureValue(shapedArray: MLShapedArray<Float>(scalars: [variety], shape: shape))
            case "label":
                inputs[name] = MLFeatureValue(shapedArray: MLShapedArray<Int32>(scalars: [Int32(kind)], shape: shape))
            default:
                break
            }
        }
        let outputs = try await model(of: stage).prediction(from: MLDictionaryFeatureProvider(dictionary: inputs))
        guard let image = outputs.featureValue(for: "image")?.shapedArrayValue(of: Float.self) else { return nil }
        return toPicture(image.scalars, width: stage.width, height: stage.height, channels: stage.channels)
    }

    /// Returns a function of the package, which is loaded when it is first used.
    private func model(of stage: Signature) async throws -> MLModel {
        if let model = loaded[stage.name] { return model }
        // Xcode has compiled generator.mlpackage into generator.mlmodelc, which lies in the app.
        guard let place = Bundle.main.url(forResource: Facts.file, withExtension: "mlmodelc") else {
            throw CocoaError(.fileNoSuchFile)
        }
        let configuration = MLModelConfiguration()
        configuration.functionName = stage.name // needs iOS 18
        let model = try await MLModel.load(contentsOf: place, configuration: configuration)
        loaded[stage.name] = model
        return model
    }
}

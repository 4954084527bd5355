"""Train a run: the training step, the loop over all steps, its callbacks, and several machines.

Short names used in this package: G is the generator, D the discriminator, a fake an image from G, a
real an image of the data. A condition is the input of G: latents (random vectors), or images that G
converts. The moving average is a second generator whose weights follow those of G slowly; it is the
result of a run. A skipped step is one whose loss or gradients were NaN or Inf, so that at least one
network was left unchanged. Stages, phases and steps are defined in `pggan_tf.schedule`.
"""

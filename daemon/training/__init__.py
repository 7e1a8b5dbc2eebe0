"""Build a model from data and measure it.

In the order in which the data pass through them:

    data        load the sets: drawings with labels
    hands       redraw digits the way people draw them: pencil, brush, slant, scans
    strokes     draw digits from lines and curves, in styles that MNIST lacks
    fonts       render digits, letters and symbols from fonts
    negatives   generate images of "not a digit"
    pool        run everything through the reader and cache the 28x28 glyphs
    augment     vary the glyphs at random in each epoch
    frameworks  import Keras and TensorFlow when they are needed
    network     build, compile, save and load the network
    learner     one training step: averaged weights, checkpoints
    train       the loop over the epochs, then compilation and calibration
    calibrate   temperature and the threshold of `unsure`, on validation data
    evaluate    measure a model on MNIST or a folder of images
    unseen      test images without a single digit: pairs, letters, blanks, noise
    report      text output of the commands
    plots       curves, confusion matrix, examples, worst mistakes
"""

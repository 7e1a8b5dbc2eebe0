"""Build a model from data and measure it.

In the order in which the data pass through them:

    data        load the sets: drawings with labels; hold out the last of each
    hands       redraw digits the way people draw them: pencil, brush, slant, scans
    strokes     draw digits from lines and curves, in styles that MNIST lacks
    fonts       render digits, letters and symbols from fonts
    negatives   generate images of "not a digit"
    inks        all of these, as units of work
    furniture   what else is on a page: rings, boxes, lines, shadows, the desk
    pages       compose a page of ink, paper and furniture
    views       a stream of pages as the eye sees them
    pool        show all inks to the trained eye and cache the 28x28 glyphs
    augment     vary the glyphs at random in each epoch
    frameworks  import Keras and TensorFlow when they are needed
    network     build, compile, save and load the classifier
    unet        build the eye's network
    learner     one training step: averaged weights, checkpoints
    train       train the eye, then the classifier; compile and calibrate both
    calibrate   temperature and the threshold of `unsure`, on validation data
    evaluate    measure a model on MNIST or a folder of images
    report      text output of the commands
    plots       curves, confusion matrix, examples, worst mistakes
"""

"""Build a model from data and measure it.

In the order the data take:

    data        the sets, as drawings with labels
    hands       drawings as people really make them: pencil, brush, slant, scans
    strokes     digits drawn from lines and curves, in the styles MNIST lacks
    fonts       digits, letters and signs rendered from fonts
    negatives   what is not a digit
    pool        all of it through the reader: 28x28 glyphs, kept between runs
    augment     what is varied anew in each epoch
    frameworks  Keras and TensorFlow, imported when they are needed
    network     the network: built, compiled, saved and loaded
    learner     one step of training: averaged weights, checkpoints
    train       the loop over the epochs, and what follows it
    calibrate   temperature and the threshold of `unsure`, on validation data
    evaluate    measure a model on MNIST or a folder of images
    unseen      images of no digit to measure on: pairs, letters, blanks, noise
    report      words for the commands
    plots       curves, confusion matrix, examples, worst mistakes
"""

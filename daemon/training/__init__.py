"""Build a model from data and measure it.

The modules are listed in the order in which the data pass through them:

    frameworks     import Keras and TensorFlow when they are needed
    data           load the sets, fonts and images of other things; hold out validation data
    pens           draw digits from strokes; redraw lines with pencils and brushes; scan them
    ink_sources    all inks, digits and "not a digit", split into units of work
    writing        what is written in one place, in layers; pens for strokes next to it
    marks          strike a digit out, put a sign next to it, underline it
    number_lines   write numbers: digits apart, touching or overlapping, with marks among them
    page_clutter   what else is on a page: rings, boxes, rules, dirt, shadows, the desk
    photograph     see a page as a camera does: in perspective, cropped, with noise
    pages          compose a synthetic page of paper, clutter and ink
    eye_batches    an endless stream of pages for the eye to learn from
    glyph_batches  show all inks to the eye, cache the glyphs, draw augmented batches
    number_texts   choose the texts that the line reader learns
    line_writing   write a text as ink along a line, and degrade it
    strips         an endless stream of strips for the line reader to learn from
    networks       build all networks; compile, save and load them
    eye_figures    measure the eye on pages of each kind
    shown_strips   show pages with numbers to the eye, cache its strips
    learner        train one network: optimizer, schedule, averaged weights, checkpoint
    train          train the eye, the classifier and the line reader; compile, calibrate and save
    simple         train the tutorials' network instead, for comparison
    keras_file     load anybody's Keras classifier, without running code in its file
    wrapping       wrap it so that it takes glyphs and returns logits; find how it scales pixels
    adopt          calibrate and compile it, compare it with the shipped model, keep it
    evaluate       measure a model on MNIST or a folder of images; fit the calibration
    evaluate_outbox  the cases of an outbox: people's answers
    changes        compare two models on the same images
    report         text, tables and pictures of a training and of an evaluation
"""

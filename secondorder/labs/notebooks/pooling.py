"""Pooling and two choices: a lab as a marimo notebook, which also runs as a script."""

import marimo

app = marimo.App(width="medium", app_title="Pooling and two choices")


@app.cell
def _():
    from secondorder.labs import shell
    from secondorder.labs.pooling import LAB

    return LAB, shell


@app.cell
def _(LAB, shell):
    shell.opening(LAB)


@app.cell
def _(LAB, shell):
    prediction = shell.prediction(LAB)
    prediction
    return (prediction,)


@app.cell
def _(LAB, prediction, shell):
    shell.told(LAB, prediction.value)


@app.cell
def _(LAB, shell):
    sliders = shell.sliders(LAB)
    shell.shown_sliders(sliders)
    return (sliders,)


@app.cell
def _(LAB, shell, sliders):
    shell.view(LAB, sliders.value)


@app.cell
def _(LAB, shell):
    shell.closing(LAB)


if __name__ == "__main__":
    app.run()

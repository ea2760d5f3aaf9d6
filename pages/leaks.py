"""Leaks: what a split that shares artists adds to an accuracy, measured."""
# menu: Learn, 120, :material/water_drop:

from genrecore import ui
from genrecore.ui.leaks import form, view
from genrecore.ui.plans.progress import choose_view

ui.page("Leaks", "How much of an accuracy comes from a leak between training and test?")
runs = ui.look_at_runs().runs

view.explanation()
experiments = view.all_experiments(runs)
if choose_view("experiments", "Experiments", bool(experiments)) == "experiments":
    view.show(experiments)
else:
    form.new_experiment(runs)

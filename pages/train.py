"""Train: dataset, model and settings become a run that goes on without this page."""
# menu: Work, 30, :material/model_training:

from genrecore import ui
from genrecore.ui.datasets.choice import usual_config
from genrecore.ui.parts import forms, readers
from genrecore.ui.train import submission

ui.page("Train", "Choose music and a model. The run goes on when you close this page.")
listing = ui.look_at_runs()

parent = readers.find(ui.chosen("from"))
base = parent.config if parent else usual_config()
left, right = ui.pair("form", left=5, right=3)

with left:
    forms.preset_part()
    values = forms.run_form(base, own_split=parent is not None)
    ui.opens(str(values["model"]), str(values["dataset"]))

with right:
    ui.section("This run")
    submission.run_panel(values, parent, listing)

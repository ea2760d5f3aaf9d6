"""Plans: many runs as one form; how far each plan is, and which of its runs did best."""
# menu: Studies, 80, :material/grid_view:

from genrecore import ui
from genrecore.experiments.plan import all_plans
from genrecore.ui.plans import form, view
from genrecore.ui.plans.progress import choose_view

ui.page("Plans", "Models, seeds, splits and any list of values, trained as one plan.")
runs = ui.look_at_runs().runs

view.explanation()
plans = all_plans()
if choose_view("plans", "Plans", bool(plans)) == "plans":
    view.show(plans)
else:
    form.new_plan(runs)

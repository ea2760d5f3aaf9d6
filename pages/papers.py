"""Papers: five studies as recipes, their printed numbers, and ours beside them."""
# menu: Studies, 90, :material/menu_book:

from genrecore import ui
from genrecore.ui.papers import figures, numbers, run
from genrecore.ui.papers import view as papers

ui.page(
    "Papers",
    "Five studies as recipes: what they claim, and what you get, their way and an honest way.",
)
runs = ui.look_at_runs().runs

study = papers.choose_study()
ui.opens(study.citation)
views = {"numbers": "Numbers", "figures": "Figures", "recipe": "Recipe", "run": "Run it"}
view = ui.choose_one("Show", views, "view", radio=True)
papers.show_head(study, in_full=view == "numbers")
if view == "recipe":
    papers.show_recipe(study)
elif view == "run":
    run.show_panel(study, runs)
else:
    with ui.sentences():
        results = numbers.choose_results(study)
        if view == "numbers":
            numbers.show(results)
        else:
            figures.show(results)

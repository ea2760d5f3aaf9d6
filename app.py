"""The dashboard: `streamlit run app.py`, or `genrecore dashboard`."""

from genrecore import ui

ui.navigation().run()

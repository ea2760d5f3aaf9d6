"""Settings: the clusters on which runs can be carried out."""
# menu: Set up, 200, :material/settings:

from genrecore import ui
from genrecore.ui.settings import clusters, elsewhere

ui.page("Settings", "Clusters on which runs can be carried out, and how often they are asked.")

clusters.show_profiles()
clusters.show_polling()
elsewhere.show_links()

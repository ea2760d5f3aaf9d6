"""Charts, the HTML report, tables for papers, TensorBoard and MLflow."""

"""A trained run at work: classify, ensemble, doubts, explanations, probes, service, exports."""

"""The main job in one command: a trained model on real input (`python -m numba_rt.demo`)."""

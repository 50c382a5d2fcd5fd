"""numba_rt"""

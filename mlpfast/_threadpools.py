"""threadpoolctl's limits, where mlpfast's threads are not OpenMP's, which it knows by itself."""

from . import _core


def register() -> None:
    """Let threadpoolctl, if it is installed, see mlpfast's threads; a limit holds for calls of the thread that sets it,
    as with OpenMP."""
    if _core.threading() in ("openmp", "none"):
        return
    try:
        import threadpoolctl
    except ImportError:
        return
    if not hasattr(threadpoolctl, "register"):  # older than 3.3
        return

    class MLPController(threadpoolctl.LibController):
        user_api = internal_api = "mlpfast"
        filename_prefixes = ("_core.",)
        check_symbols = ("mlpfast_core",)

        def get_num_threads(self) -> int:
            return _core.max_threads()

        def set_num_threads(self, num_threads: int) -> None:
            _core.allow_threads(max(num_threads, 1))

        def get_version(self) -> str:
            return f"{_core.VERSION // 10**6}.{_core.VERSION // 1000 % 1000}.{_core.VERSION % 1000}"

    threadpoolctl.register(MLPController)

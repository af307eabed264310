"""Measurements as the benchmark's load generator makes them."""

from benchmarks.results import Measurement


def measured(
    target: str,
    number: int = 1,
    *,
    us: float = 10.0,
    p99: float = 5.0,
    bound: bool = False,
    others: float = 0.0,
    scenario: str = "burst",
    clients: int = 8,
    lag: float = 0.0,
    errors: int = 0,
) -> Measurement:
    """`us` are of CPU time a piece, `p99` and `lag` milliseconds."""
    return Measurement(
        target=target,
        scenario=scenario,
        clients=clients,
        round=number,
        seconds=1.0,
        requests=100,
        pieces=20_000,
        reads=1_000,
        errors=errors,
        short=0,
        faults=[],
        target_cpu_seconds=us / 50,
        mock_cpu_seconds=0.1,
        load_cpu_seconds=0.1,
        others_cpu_seconds=others,
        us_per_piece=us,
        us_per_request=us * 200,
        requests_per_second=100.0,
        first_piece_ms_p50=1.0,
        first_piece_ms_p99=p99,
        whole_ms_p50=3.0,
        whole_ms_p99=9.0,
        lag_ms_p50=lag / 10,
        lag_ms_p99=lag,
        memory_mb_before=40.0,
        memory_mb=50.0,
        live=clients,
        left=100,
        runs_stopped=60,
        runs_aborted=39,
        runs_on=1,
        harness_bound=bound,
    )

"""The report of a compression: one HTML file that needs nothing else."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "data": ["Answer", "Bar", "Figure", "Layer", "ReportData"],
        "page": ["render_report", "write_report"],
        "gather": ["report_from_result"],
        "measure": ["compare_answers", "measure_speed"],
    },
)

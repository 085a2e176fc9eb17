"""The report of a compression: one HTML file that needs nothing else."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "data": ["Answer", "Bar", "Figure", "Layer", "ReportData"],
        "gather": ["report_data", "write_report"],
        "page": ["render_report", "write_page"],
        "speed": ["Runner", "Speed", "engine_runner", "llama_cpp_runner", "race"],
    },
)

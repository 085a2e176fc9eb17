"""Data that are really there: one file a source, nothing downloaded behind your back."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "arc": ["MultipleChoice", "load_arc"],
        "calibration": ["load_calibration_text"],
        "envi": ["EnviCube", "load_envi", "save_envi"],
        "gsm8k": ["WordProblem", "load_gsm8k"],
        "locate": ["data_directory"],
        "movielens": ["Ratings", "load_movielens_100k"],
        "planted_features": ["planted_features"],
        "sentence_pairs": ["SentencePair", "load_sentence_pairs", "split_sentences"],
        "shape_images": ["FactorImages", "factor_images"],
        "sotu": ["load_sotu"],
        "spectral_mat": ["SpectralImage", "load_spectral_mat"],
        "wikitext2": ["load_wikitext2"],
    },
)

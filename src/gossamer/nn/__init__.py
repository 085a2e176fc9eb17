"""Modules for torch: layers whose weights are structured matrices, and attention beyond pairs of tokens."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "attention.lora_gradient": ["lora_attention_gradient"],
        "attention.lora_layer": ["FastLoRAAttention", "LoRALinear"],
        "attention.lora_report": ["HeadNorms", "LoRANormReport", "lora_norm_report"],
        "attention.match3": ["match3_construction", "match3_dataset"],
        "attention.phase_transition": ["PhasePoint", "PhaseResult", "phase_transition"],
        "attention.polynomial_attention": [
            "ExactFallbackWarning",
            "PolynomialAttention",
            "PolynomialAttentionInfo",
        ],
        "attention.score_gradient": ["attention_score_gradient"],
        "attention.tensor_attention": ["TensorAttentionInfo", "tensor_attention"],
        "attention.tensor_layer": ["HigherOrderAttention", "TensorAttention"],
        "linear.densify": ["densify"],
        "linear.monarch": ["MonarchLayer", "MonarchLinear", "MonarchReport", "monarchize"],
        "linear.structured": ["StructuredLinear", "replace_linears"],
        "operators.fourier_operator": ["FourierOperator1d", "SpectralConv1d"],
        "operators.monarch_fft": ["MonarchFFT", "MonarchFFT2"],
        "ssm.attack": ["fourier_attack", "spike_frequency"],
        "ssm.block": ["SSMBlock", "SequenceClassifier"],
        "ssm.diagonal": ["S4D", "S4PTD"],
        "ssm.dplr": ["S4"],
        "ssm.kernel": ["ssm_kernel"],
        "ssm.layer": ["SSMLayer", "ssm_param_groups"],
        "ssm.multi_input": ["S5", "S5PTD"],
        "ssm.scan": ["associative_scan", "ssm_scan"],
        "ssm.transfer": ["impulse_response", "transfer_function", "transfer_gap"],
    },
)

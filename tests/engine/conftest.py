from tests.engine.tiny_models import bert, byte_tokenizer, llama  # noqa: F401  (fixtures)

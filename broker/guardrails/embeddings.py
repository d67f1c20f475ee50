"""What is a sentence about? Small vectors from the weights that the package `wordllama` (MIT) carries.

A sentence is the mean of the vectors of its tokens (256 numbers each), of length one, so that the product of
two says how near they are. The package itself is not imported: it looks for its tokenizer on the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from broker.guardrails.packaged import Packaged

_PACKAGED = Packaged("wordllama", guard="topics", extra="embeddings")
_FILES = {
    "weights/l2_supercat_256.safetensors": "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
    "tokenizers/l2_supercat_tokenizer_config.json": (
        "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68"
    ),
}
"""By SHA-256: thresholds mean nothing with other weights."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The packaged vectors. Pure, and may be used from several threads at once."""

    vectors: Any
    tokenizer: Any
    numpy: Any

    def of(self, sentences: Sequence[str]) -> Any:
        """One row for each sentence; one of zeros where a sentence has no token."""
        encoded = self.tokenizer.encode_batch(list(sentences), add_special_tokens=False)
        rows = self.numpy.zeros((len(encoded), self.vectors.shape[1]), dtype="float32")
        for number, one in enumerate(encoded):
            if one.ids:
                mean = self.vectors[one.ids].mean(axis=0)
                rows[number] = mean / (float(self.numpy.linalg.norm(mean)) or 1.0)
        return rows


@cache
def packaged_embeddings() -> Embeddings:
    """The vectors of the extra `embeddings`, loaded once.

    Raises:
        ConfigurationError: it is not installed, or holds others than were measured.
    """
    numpy, tokenizers, safetensors = _PACKAGED.modules("numpy", "tokenizers", "safetensors.numpy")
    weights, words = (_PACKAGED.read(name, sha256) for name, sha256 in _FILES.items())
    vectors = safetensors.load(weights)["embedding.weight"].astype("float32")
    tokenizer = tokenizers.Tokenizer.from_str(words.decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return Embeddings(vectors, tokenizer, numpy)

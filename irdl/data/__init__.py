"""Data sets in the formats in which they are published, and batches of them."""

from irdl.data.images import CIFAR10, MNIST, RandomCrop, RandomFlipHorizontal
from irdl.data.loading import ArrayDataset, DataLoader, Dataset
from irdl.data.text import Corpus, Dictionary, PennTreebank, TimeMachine, TranslationPairs, Vocabulary, batchify, get_batch

__all__ = [
    "CIFAR10",
    "MNIST",
    "ArrayDataset",
    "Corpus",
    "DataLoader",
    "Dataset",
    "Dictionary",
    "PennTreebank",
    "RandomCrop",
    "RandomFlipHorizontal",
    "TimeMachine",
    "TranslationPairs",
    "Vocabulary",
    "batchify",
    "get_batch",
]

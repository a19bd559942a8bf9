"""From one sequence of tokens to another."""

from __future__ import annotations

from typing import Any

import numpy as np

import irdl
from irdl import random
from irdl.nn.functional import softmax
from irdl.nn.layers import Embedding, Linear
from irdl.nn.module import Module
from irdl.nn.recurrent import LSTM


class Seq2Seq(Module):
    """An LSTM reads the source, a second one starts from its state and says the target (Sutskever et al., 2014); with attention it looks at
    each step of the source for what it says (Luong et al., 2015, with the general score).

    Args:
        source_size, target_size: how many tokens there are.
        embedding_dim: of both embeddings.
        hidden_size, num_layers, dropout: of both LSTMs.
        attention: whether the decoder looks back.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        embedding_dim: int,
        hidden_size: int,
        num_layers: int = 1,
        dropout: float = 0.0,
        attention: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        self.source_embedding = Embedding(source_size, embedding_dim, dtype=dtype)
        self.target_embedding = Embedding(target_size, embedding_dim, dtype=dtype)
        self.encoder = LSTM(embedding_dim, hidden_size, num_layers, batch_first=True, dropout=dropout, dtype=dtype)
        self.decoder = LSTM(embedding_dim, hidden_size, num_layers, batch_first=True, dropout=dropout, dtype=dtype)
        self.score = Linear(hidden_size, hidden_size, bias=False, dtype=dtype) if attention else None
        self.combine = Linear(2 * hidden_size, hidden_size, dtype=dtype) if attention else None
        self.out = Linear(hidden_size, target_size, dtype=dtype)

    def forward(self, source: Any, target: Any, lengths: Any = None) -> Any:
        """Logits (batch, target steps, target_size) of what follows each token of the target, which is fed as it is: teacher forcing.

        Args:
            source: integers (batch, steps).
            target: integers (batch, target steps), first the token that begins one.
            lengths: integers (batch,), of the sources without their padding; None where there is none.
        """
        memory, state = self.encode(source, lengths)
        return self._say(target, memory, state, lengths)[0]

    def encode(self, source: Any, lengths: Any = None) -> tuple[Any, Any]:
        """What the encoder makes of each step (batch, steps, hidden_size), and its last state."""
        return self.encoder(self.source_embedding(source), lengths=lengths)

    def _say(self, tokens: Any, memory: Any, state: Any, lengths: Any) -> tuple[Any, Any]:
        hs, state = self.decoder(self.target_embedding(tokens), state)
        if self.score is not None:
            assert self.combine is not None
            scores = np.einsum("bth,bsh->bts", hs, self.score(memory))
            if lengths is not None:
                there = np.arange(memory.shape[1]) < lengths[:, None]
                scores = np.where(there[:, None, :], scores, np.finfo(scores.dtype).min)
            seen = np.einsum("bts,bsh->bth", softmax(scores, axis=-1), memory)
            hs = np.tanh(self.combine(np.concatenate([seen, hs], axis=-1)))
        return self.out(hs), state

    def decode(
        self, source: Any, begin: int, end: int, max_steps: int, lengths: Any = None, key: Any = None, temperature: float = 1.0
    ) -> Any:
        """Tokens int64 (batch, max_steps), each fed to the next step until all have said `end`, which fills what is behind it.

        Args:
            source, lengths: as of `forward`.
            begin, end: the tokens that begin and end a target.
            max_steps: no more are made.
            key: of `irdl.random`: tokens are drawn by their probabilities; None takes the likeliest (greedy decoding).
            temperature: the logits are divided by it before a token is drawn.
        """
        batch = source.shape[0]
        memory, state = self.encode(source, lengths)

        def goes_on(carry: Any) -> Any:
            step, _, _, ended, _ = carry
            return (step < max_steps) & ~np.all(ended)

        def body(carry: Any) -> Any:
            step, token, state, ended, said = carry
            logits, state = self._say(token[:, None], memory, state, lengths)
            if key is None:
                token = np.argmax(logits[:, 0], axis=-1)
            else:
                token = random.categorical(random.fold_in(key, step), logits[:, 0] / temperature)
            token = np.where(ended, end, token)
            said = said.copy()
            said[:, step] = token
            return step + 1, token, state, ended | (token == end), said

        said = np.full((batch, max_steps), end, np.int64)
        first = np.full(batch, begin, np.int64)
        *_, said = irdl.while_loop(goes_on, body, (0, first, state, np.zeros(batch, bool), said))
        return said

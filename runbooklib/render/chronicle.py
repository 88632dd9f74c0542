"""What happened as a table, by time."""

from collections.abc import Sequence

import pandas as pd

from runbooklib.model.event import Event
from runbooklib.render.sentences import sentence, time


def chronicle(events: Sequence[Event]) -> pd.DataFrame:
    """Columns: at (text, UTC; a dash where it is not known), what, source."""
    rows = [
        {
            "at": time(event.at) if event.at else "–",
            "what": event.what if isinstance(event.what, str) else sentence(event.what),
            "source": event.source,
        }
        for event in events
    ]
    return pd.DataFrame(rows, columns=["at", "what", "source"])

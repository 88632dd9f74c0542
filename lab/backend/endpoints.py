"""What the users of HelloAgents call."""

from dataclasses import dataclass
from typing import Any

from .ai import Provider
from .database import Database
from .sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The functions for users. Each uses the system that it needs."""

    database: Database
    sandbox: Sandbox
    provider: Provider

    def agents(self) -> list[dict[str, Any]]:
        """List the agents."""
        rows = self.database.query("list_agents", "SELECT id, name, model FROM agents ORDER BY id LIMIT 20")
        return [{"id": row["id"], "name": row["name"], "model": row["model"]} for row in rows]

    def conversations(self, agent: int) -> list[dict[str, Any]]:
        """List the newest conversations of an agent."""
        sql = "SELECT id, title FROM conversations WHERE agent_id = :agent ORDER BY id DESC LIMIT 20"
        rows = self.database.query("list_conversations", sql, agent=agent)
        return [{"id": row["id"], "title": row["title"]} for row in rows]

    def touch(self, agent: int) -> dict[str, Any]:
        """Store the time at which an agent was used."""
        sql = "UPDATE agents SET used_at = now() WHERE id = :agent RETURNING id, used_at"
        rows = self.database.query("touch_agent", sql, agent=agent)
        return {"id": agent, "used_at": str(rows[0]["used_at"]) if rows else None}

    def search(self, words: str) -> list[dict[str, Any]]:
        """Find messages by their exact text, in any case."""
        sql = "SELECT id, body FROM messages WHERE lower(body) = lower(:words) ORDER BY id LIMIT 20"
        rows = self.database.query("search_messages", sql, words=words)
        return [{"id": row["id"], "text": row["body"]} for row in rows]

    def execute(self, language: str) -> dict[str, Any]:
        """Run code in a sandbox."""
        return {"language": language, "output": self.sandbox.execute(language)}

    def chat(self, message: str) -> dict[str, Any]:
        """Send a message to the AI provider."""
        answer = self.provider.chat(message)
        return {"reply": answer["choices"][0]["message"]["content"], "usage": answer["usage"]}

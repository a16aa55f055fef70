"""The laws that hold at rest, whatever was done at once: read from what is committed.

They give sentences, one for each thing that is not as it should be; nothing is good news.
"""

from typing import Any

import transaction

from kinto_attachment import keys
from tests.faults.harness import Database, collect
from tests.support.parts import Server, sha256

ATTACHED = """
SELECT r.parent_id || '/records/' || r.id, r.data, EXISTS (
    SELECT 1 FROM objects c WHERE c.resource_name = 'collection' AND NOT c.deleted
    AND c.parent_id || '/collections/' || c.id = r.parent_id)
  FROM objects r
 WHERE r.resource_name = 'record' AND NOT r.deleted
   AND jsonb_typeof(r.data -> 'attachment') = 'object'
"""
"""Without Kinto's limits, and the records too whose collection is gone."""


def attachments(database: Database) -> dict[str, dict[str, Any]]:
    """Every record that has an ``attachment``, by its URI."""
    return {uri: data for uri, data, _ in database.execute(ATTACHED)}


def unreadable(server: Server, database: Database) -> list[str]:
    """Law 1: each record that has an attachment gives out the file that it describes."""
    said = []
    client = server.as_user()
    for uri, data, has_collection in database.execute(ATTACHED):
        wanted = data["attachment"].get("hash")
        if not has_collection:
            said.append(f"parentless: {uri} is left behind, its collection is gone")
            continue
        answer = client.get(f"{uri}/attachment", "*")
        if answer.status_code != 200:
            said.append(f"unreadable: {uri} is {answer.status_code}")
        elif sha256(answer.body) != wanted:
            said.append(f"unreadable: {uri} gives out another file")
    transaction.abort()
    return said


def disagreement(server: Server, ours: bool = True, every_file: bool = False) -> list[str]:
    """Law 2: after gc nothing else lies in the store, or among the links.

    :param ours: whether all files are: :meth:`Server.assert_agreement` knows no others.
    :param every_file: whether files of 8.x too have to go with their records. Those that were
        there before us, without a link, are nobody's to remove.
    """
    collect(server)
    if not ours:
        return differences(server, every_file)
    try:
        server.assert_agreement()
    except Exception as error:  # A file that is gone is an OSError.
        said = differences(server, every_file)
        return said or [f"disagree: {type(error).__name__} {str(error)[:300]}"]
    return []


def differences(server: Server, every_file: bool) -> list[str]:
    """In words, what does not agree."""
    transaction.abort()
    records = {r["uri"]: r["attachment"] for r in server.records()}
    links = {row.record_uri: row for row in server.all_links()}
    stored = server.stored_keys()
    said = [f"disagree: {uri} has no link" for uri in sorted(set(records) - set(links))]
    more = sorted(set(links) - set(records))
    said += [f"disagree: {uri} has a link, and no attachment" for uri in more]
    for uri in sorted(set(records) & set(links)):
        if links[uri].value != records[uri]:
            said.append(f"disagree: {uri} and its link say different things")
        if links[uri].key not in stored:
            said.append(f"disagree: {uri} has a link, and no file")
    left = stored - {row.key for row in links.values()}
    left = {key for key in left if every_file or keys.id_of_key(key)}
    said += [f"disagree: {len(left)} files that nothing names"] if left else []
    said += [f"disagree: {name} is unfinished" for name in server.unfinished()]
    transaction.abort()
    return said

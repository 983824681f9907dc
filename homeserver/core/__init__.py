"""The Matrix protocol as a pure library: no I/O, clock, randomness, logging or async.

What a server does with each event (PDU) that another server sends, in order (server-server-api §Checks performed on
receipt of a PDU). Services gather what a step needs; the module named decides.

1. Format. Types, sizes, references and identifiers are those of the room version: `event_format.check_pdu`. If not,
   the event is **dropped**: no trace of it is kept, and the sender is told only of this event's failure.
2. Signatures. Every server in `signatures.required_signers` has signed the redacted form with a key that was valid at
   the time (`signatures.signatures_to_check`). If not, **dropped**. Keys that nobody knows are skipped, not failures.
3. Hash. `hashes.content_hash_matches`. If not, the event goes on in its **redacted** form (`Event.redacted`): the
   sender may itself have had no more than that.
4. Authorisation against its own auth events: `auth_rules.check_state_independent`, then `auth_rules.check_auth` with
   the state that they make up. If refused, **rejected**: stored and marked, so that events which name it can still be
   placed, but never part of any state, never given to clients and never a prev event of ours.
5. Authorisation against the state before the event, from `state_resolution` over its prev events. If refused,
   **rejected**.
6. Authorisation against the current state of the room. If refused, **soft-failed**: it takes part in state resolution
   where others build on it, but is given to no client and is not a forward extremity of ours.
7. The room's policy server, if it names one, has signed the event. If not, **soft-failed**.
"""

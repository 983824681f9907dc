"""Claims about the example config."""

import re
from dataclasses import fields, is_dataclass
from typing import get_type_hints

import yaml

from homeserver.config import Config, from_mapping
from homeserver.config.example import example_text
from homeserver.config.server_sections import Listener


def test_example_is_a_config_with_every_default() -> None:
    assert from_mapping(yaml.safe_load(example_text())) == from_mapping({"server": {"name": "localhost"}})


def test_every_option_of_the_example_can_be_uncommented() -> None:
    kinds = [Listener, *(hint for hint in get_type_hints(Config).values() if is_dataclass(hint))]
    names = "|".join({option.name for kind in kinds for option in fields(kind)} | {"workers"})
    text = re.sub(rf"^(\s*)# (({names}): )", r"\1\2", example_text(), flags=re.MULTILINE)
    data = yaml.safe_load(text)
    data["server"]["signing_key"] = ""
    data["database"]["url"] = ""
    data["federation"]["allowed_servers"] = None
    data["server"]["public_base_url"] = None
    data["listeners"] = data["sso"] = data["registration"]["terms"] = data["registration"]["auto_join_rooms"] = None
    assert from_mapping(data) == from_mapping({"server": {"name": "localhost"}})


def test_every_option_has_a_sentence() -> None:
    hints = get_type_hints(Config)
    for section in fields(Config):
        if is_dataclass(hints[section.name]):
            assert hints[section.name].__doc__, section.name
            for option in fields(hints[section.name]):
                assert option.metadata["doc"].endswith("."), f"{section.name}.{option.name}"


def test_values_that_are_given_are_set() -> None:
    text = example_text({"server": {"name": "hearth.test", "public_base_url": "http://x/"}, "media": {"max_pixels": 5}})
    config = from_mapping(yaml.safe_load(text))
    assert (config.server_name, config.public_base_url, config.media.max_pixels) == ("hearth.test", "http://x/", 5)


def test_no_line_is_longer_than_a_screen() -> None:
    assert max(map(len, example_text().splitlines())) <= 260

"""Files of devices: read whole, or all that is wrong with them, by line and column."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.services.bulk_columns import COLUMNS, EXAMPLE_DEV_EUI, REQUIRED, SURFACES, Action, write_template
from receiver.services.bulk_file import MAX_FILE_BYTES, MAX_ROWS, FileRules, read_file

DEV_EUI = "0059AC0000000001"
OTHER = "0059AC0000000002"
JOIN_EUI = "70B3D57ED0000000"
APP_KEY = "00112233445566778899aabbccddeeff"
HEADER = "DevEUI,Name,JoinEUI,AppKey,DeviceProfile,ConnectivityPlan,Routing"
ROW = f"{DEV_EUI},Meter 1,{JOIN_EUI},{APP_KEY},LORA/A,kpn/often,TWA_1.2"

CREATE = FileRules("kpn-lora", Action.CREATE)
DELETE = FileRules("kpn-lora", Action.DELETE)
UPDATE = FileRules("kpn-lora", Action.UPDATE)
AT_THINGPARK = FileRules("thingpark", Action.CREATE)


def csv_of(*lines, header=HEADER):
    return "\n".join([header, *lines]).encode()


def problems_of(content, rules=CREATE):
    found = read_file(content, rules)
    assert found.rows == ()
    return [str(one) for one in found.problems]


def the_row(content, rules=CREATE):
    found = read_file(content, rules)
    assert found.problems == ()
    (row,) = found.rows
    return row


def test_a_row_has_what_its_columns_have():
    row = the_row(csv_of(ROW))

    assert (row.line, row.dev_eui, row.name, row.join_eui) == (2, DEV_EUI, "Meter 1", JOIN_EUI)
    assert row.app_key.reveal().hex() == APP_KEY
    assert (row.device_profile, row.connectivity_plan, row.routing) == ("LORA/A", "kpn/often", "TWA_1.2")
    assert row.hsm_group is None


def test_a_key_never_prints_itself():
    assert APP_KEY not in repr(read_file(csv_of(ROW), CREATE)).lower()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + csv_of(ROW), id="byte order mark"),
        pytest.param(csv_of(ROW).replace(b",", b";"), id="semicolons"),
        pytest.param(csv_of(ROW).replace(b",", b"\t"), id="tabs"),
        pytest.param(csv_of(ROW).replace(b"\n", b"\r\n"), id="line ends of Windows"),
        pytest.param(csv_of(*[f'"{cell}"' for cell in [ROW.replace(",", '","')]]), id="all quoted"),
        pytest.param(b"sep=;\r\n" + csv_of(ROW).replace(b",", b";"), id="Excel's first line"),
        pytest.param(csv_of(ROW.replace(DEV_EUI, f'"=""{DEV_EUI}"""')), id="as a formula of Excel"),
        pytest.param(csv_of(ROW, header=HEADER.upper()), id="header in upper case"),
        pytest.param(csv_of(ROW, header=HEADER.replace("JoinEUI", "app_eui")), id="AppEUI"),
        pytest.param(csv_of(ROW, header=HEADER.replace("AppKey", "Application Key")), id="Application Key"),
        pytest.param(csv_of(ROW, header=HEADER.replace("DevEUI", "EUI")), id="EUI"),
        pytest.param(csv_of(ROW.replace(DEV_EUI, "00-59-ac-00-00-00-00-01")), id="grouped with dashes"),
        pytest.param(csv_of(ROW.replace(DEV_EUI, "0x0059ac0000000001")), id="with 0x"),
        pytest.param(csv_of(f"{ROW},ignored", header=HEADER + ",# of mine"), id="a column of comments"),
        pytest.param(csv_of("", "# a comment", ",,,,,,", ROW), id="empty lines and comments"),
        pytest.param(csv_of(ROW) + b"\n,,,,,,\n\n", id="empty lines at the end, as Excel leaves them"),
    ],
)
def test_a_file_is_read_in_any_of_its_spellings(content):
    row = the_row(content)

    assert (row.dev_eui, row.join_eui, row.app_key.reveal().hex()) == (DEV_EUI, JOIN_EUI, APP_KEY)


@pytest.mark.parametrize("separator", [", ", ",\n  "])
def test_json_is_read_as_a_list_or_line_by_line(separator):
    members = dict(zip(HEADER.split(","), ROW.split(","), strict=True))
    one, two = json.dumps(members), json.dumps({**members, "DevEUI": OTHER, "#": ["a comment"]})

    as_list = read_file(f"[{one}{separator}{two}]".encode(), CREATE)
    as_lines = read_file(f"{one}\n{two}\n".encode(), CREATE)

    assert [row.dev_eui for row in as_list.rows] == [row.dev_eui for row in as_lines.rows] == [DEV_EUI, OTHER]
    assert [row.line for row in as_lines.rows] == [1, 2]


def test_json_numbers_are_taken_where_a_number_may_stand():
    row = the_row(b'[{"DevEUI": "0059AC0000000001", "Name": 7, "latitude": 52.1, "longitude": 5}]', UPDATE)

    assert (row.name, row.latitude, row.longitude) == ("7", 52.1, 5.0)


def test_a_value_with_a_line_break_is_counted_in_the_lines():
    broken = ROW.replace("Meter 1", '"Meter\n1"')

    assert problems_of(csv_of(broken, ROW.replace(DEV_EUI, "12"))) == [
        "line 2, Name: It has a character that cannot be printed, such as a line break.",
        "line 4, DevEUI: '12' has 2 digits of 16: were zeros at its beginning dropped?",
    ]


def test_all_bad_rows_are_named_at_once():
    lines = [ROW.replace(DEV_EUI, f"{number:016X}") for number in range(1, 6)]
    lines[1] = lines[1].replace(APP_KEY, "0011")
    lines[3] = lines[3].replace(JOIN_EUI, "")

    assert problems_of(csv_of(*lines)) == [
        "line 3, AppKey: A key must be 32 hexadecimal digits; this text has 4 characters.",
        "line 5, JoinEUI: It is empty, and needed to create.",
    ]


def test_no_problem_has_the_key_in_it():
    bad_key = "ZZ" + APP_KEY[2:]

    assert bad_key not in " ".join(problems_of(csv_of(ROW.replace(APP_KEY, bad_key))))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1: There is no device in it."),
        (HEADER.encode(), "line 1: There is no device in it."),
        (ROW.encode(), "line 1: There is no column DevEUI: the first line must name the columns."),
        (b"[]", "line 1: There is no device in it."),
        ("Ger\u00e4t".encode("latin-1"), "line 1: Byte 0xe4 is not UTF-8: save the file as `CSV UTF-8`."),
        (csv_of(ROW).decode().encode("utf-16"), "line 1: The file is UTF-16: save it as `CSV UTF-8`."),
        (
            csv_of(ROW, header=HEADER.replace("AppKey", "AppKye")),
            "line 1, AppKye: There is no such column. Is it AppKey? A name that begins with # is left alone.",
        ),
        (csv_of(ROW, header=HEADER.replace("Name", "EUI")), "line 1, EUI: The column stands there already, as DevEUI."),
        (
            csv_of(ROW.replace(DEV_EUI, "5.9AC0E+13")),
            "line 2, DevEUI: '5.9AC0E+13' is not a DevEUI: it must be 16 hexadecimal digits.",
        ),
        (
            csv_of(ROW.replace(DEV_EUI, "5.91234E+13")),
            (
                "line 2, DevEUI: '5.91234E+13' is a number that Excel has rounded: make the column text there, and"
                " paste it anew."
            ),
        ),
        (
            csv_of(ROW.replace(DEV_EUI, EXAMPLE_DEV_EUI)),
            "line 2, DevEUI: This is the template's example row: remove it.",
        ),
        (csv_of(ROW, ROW), f"line 3, DevEUI: {DEV_EUI} stands in line 2 already."),
        (csv_of(ROW, ROW.lower()), f"line 3, DevEUI: {DEV_EUI} stands in line 2 already."),
        (
            csv_of(ROW.replace("Meter 1", "Meter, 1")),
            "line 2: It has 8 values, and there are 7 columns: is a value with a comma unquoted?",
        ),
        (csv_of(ROW.replace("Meter 1", '"Meter 1')), "line 2: It is not CSV: a value's opening quote is never closed."),
        (
            csv_of(ROW.replace("Meter 1", '"Meter" 1')),
            "line 2: It is not CSV: after a closing quote there is more; a quote within a value is written twice.",
        ),
        (csv_of(ROW.replace("Meter 1", "M" * 501)), "line 2, Name: It has 501 characters; 500 is the most."),
        (csv_of(ROW.replace("Meter 1", "M" * 200_000)), "line 2: It is not CSV: a value is far too long."),
        (
            csv_of(ROW.replace("Meter 1", "a\x1bb")),
            "line 2, Name: It has a character that cannot be printed, such as a line break.",
        ),
        (b'[{"DevEUI": 5}]', "line 1, DevEUI: It must be a text in quotes."),
        (b'[{"DevEUI": "00"},\n 5]', "line 2: Each device must be an object in braces."),
        (b'[\n{"DevEUI": "00"}\n', "line 3: It is not JSON: the list is never closed."),
        (b'[{"DevEUI": "00"} {"DevEUI": "01"}]', "line 1: It is not JSON: there must be a comma between two devices."),
        (b'[{"DevEUI": "00"}]\n[]', "line 1: It is not JSON: there is more behind the list."),
        (b'{"DevEUI": "00"', "line 1: It is not JSON: Expecting ',' delimiter (column 16)."),
        (b'[{"a":' + b"[" * 200_000, "line 1: It is not JSON that can be read: a value is far too long or deep."),
        (
            b'[{"latitude": ' + b"9" * 5000 + b"}]",
            "line 1: It is not JSON that can be read: a value is far too long or deep.",
        ),
        (
            b'[{"DevEUI": "0059AC0000000001", "eui": "0059AC0000000001"}]',
            "line 1, eui: It stands there already, as DevEUI.",
        ),
        (
            b'[{"DevEUI": "0059AC0000000001", "colour": "red"}]',
            "line 1, colour: There is no such column. A name that begins with # is left alone.",
        ),
    ],
)
def test_a_bad_file_is_named_by_what_is_wrong_with_it(content, problem):
    assert problems_of(content)[0] == problem


def test_a_dev_eui_that_looks_like_a_number_with_an_exponent_is_one():
    assert the_row(b"DevEUI\n12345678901234E5", DELETE).dev_eui == "12345678901234E5"


def test_a_file_that_is_too_large_is_not_read():
    assert problems_of(b" " * (MAX_FILE_BYTES + 1)) == ["line 1: The file is larger than 64 MiB: split it."]


def test_more_rows_than_a_run_may_have_are_refused():
    rows = [f"{number:016X}" for number in range(MAX_ROWS + 1)]

    assert problems_of(csv_of(*rows, header="DevEUI"), DELETE) == [
        f"line {MAX_ROWS + 2}: The file has more than 100,000 devices: split it."
    ]
    assert len(read_file(csv_of(*rows[:-1], header="DevEUI"), DELETE).rows) == MAX_ROWS


@pytest.mark.parametrize(("surface", "action"), REQUIRED)
def test_what_is_required_is_asked_for_by_name(surface, action):
    row = {column.header: column.example for column in COLUMNS if surface in column.surfaces}
    row |= {"DevEUI": DEV_EUI}
    for name in REQUIRED[surface, action]:
        column = next(one for one in COLUMNS if one.name == name)
        content = json.dumps([{**row, column.header: None}]).encode()
        assert problems_of(content, FileRules(surface, action)) == [
            f"line 1, {column.header}: It is empty, and needed to {action}."
        ]


def test_an_update_must_change_something():
    assert problems_of(f"DevEUI\n{DEV_EUI}".encode(), UPDATE) == ["line 2, Name: It is empty, and needed to update."]


def test_what_stands_for_all_rows_fills_empty_columns_only():
    rules = FileRules("kpn-lora", Action.CREATE, {"device_profile": "LORA/C", "routing": "TWA_1.9"})

    row = the_row(csv_of(ROW.replace("LORA/A", "")), rules)

    assert (row.device_profile, row.routing) == ("LORA/C", "TWA_1.2")


def test_where_a_move_goes_is_not_overridden_by_the_file():
    rules = FileRules("kpn-lora", Action.MOVE, {"routing": "TWA_1.9"})

    assert the_row(csv_of(ROW), rules).routing == "TWA_1.9"


def test_a_device_without_a_key_must_be_said_to_join_elsewhere():
    without_key = ROW.replace(APP_KEY, "")
    header = HEADER + ",JoinServer"

    assert problems_of(csv_of(without_key), AT_THINGPARK) == ["line 2, AppKey: It is empty, and needed to create."]
    assert the_row(csv_of(f"{without_key},external", header=header), AT_THINGPARK).app_key is None
    assert problems_of(csv_of(f"{ROW},external", header=header), AT_THINGPARK) == [
        "line 2, AppKey: A device of an external join server has its AppKey there: leave it empty here."
    ]
    assert problems_of(csv_of(f"{ROW},somewhere", header=header), AT_THINGPARK) == [
        "line 2, JoinServer: 'somewhere' is neither `local` nor `external`."
    ]


def test_a_column_of_another_network_is_refused_where_it_is_filled_in():
    header = HEADER + ",HsmGroup"

    assert the_row(csv_of(f"{ROW},", header=header), AT_THINGPARK).hsm_group is None
    assert problems_of(csv_of(f"{ROW},HSM_1", header=header), AT_THINGPARK) == [
        "line 2, HsmGroup: HsmGroup is nothing that thingpark has."
    ]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ("91,5", "line 2, Latitude: '91' is no number of degrees from -90 to 90."),
        ("nan,5", "line 2, Latitude: 'nan' is no number of degrees from -90 to 90."),
        ("52,east", "line 2, Longitude: 'east' is no number of degrees from -180 to 180."),
        ("52,", "line 2, Longitude: Latitude and Longitude go together."),
    ],
)
def test_a_position_must_be_one(values, problem):
    content = csv_of(f"{ROW},{values}", header=HEADER + ",Latitude,Longitude")

    assert problems_of(content)[-1] == problem


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_template_is_read_but_for_its_example_row(surface, form):
    text = write_template(surface, form)

    (problem,) = problems_of(text.encode(), FileRules(surface, Action.CREATE))

    assert "example row" in problem
    assert read_file(text.replace(EXAMPLE_DEV_EUI, DEV_EUI).encode(), FileRules(surface, Action.CREATE)).rows
    assert all(column.header in text for column in COLUMNS if surface in column.surfaces)
    assert "required to create" in text


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_any_bytes_are_rows_or_problems(content):
    found = read_file(content, DELETE)

    assert bool(found.rows) != bool(found.problems)


@given(st.integers(0, 2**32))
def test_a_file_with_a_damaged_byte_is_rows_or_problems(seed):
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    content = bytearray(csv_of(ROW, ROW.replace(DEV_EUI, OTHER)))
    content[chance.randrange(len(content))] = chance.randrange(256)

    found = read_file(bytes(content), CREATE)

    assert bool(found.rows) != bool(found.problems)

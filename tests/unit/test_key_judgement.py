from __future__ import annotations

import random
from fractions import Fraction
from math import comb

import pytest

from receiver.lorawan.frm_payload import Direction, decrypt_frm_payload, encrypt_frm_payload
from receiver.lorawan.identifiers import DevAddr, DevEui
from receiver.lorawan.keys import AesKey
from receiver.thingpark.key_judgement import (
    MAX_FRAMES,
    DecryptedFrame,
    Verdict,
    binomial_tail,
    judge_decryptions,
)

RIGHT, WRONG = AesKey(bytes(range(16))), AesKey(bytes(range(1, 17)))
DEV_EUI, DEV_ADDR = DevEui("0016C001F004A480"), DevAddr("1556DC96")


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the test is the same each time


def decrypted(
    clear_payloads: list[bytes],
    key: AesKey,
    *,
    first_f_cnt: int = 1,
    dev_eui: DevEui = DEV_EUI,
    dev_addr: DevAddr = DEV_ADDR,
    f_port: int = 2,
) -> list[DecryptedFrame]:
    """Encrypt under the right session key and decrypt with `key`, as a receiver with that key would."""
    frames = []
    for f_cnt, clear in enumerate(clear_payloads, first_f_cnt):
        encrypted = encrypt_frm_payload(RIGHT, dev_addr, f_cnt, clear, Direction.UP)
        seen = decrypt_frm_payload(key, dev_addr, f_cnt, encrypted)
        frames.append(DecryptedFrame(dev_eui, dev_addr, f_port, f_cnt, encrypted, seen))
    return frames


def sensor_payloads(count: int) -> list[bytes]:
    """A type byte, a status byte, a temperature, a humidity, a battery voltage, a counter."""
    noise = seeded(7)
    return [
        bytes([0x93, 0x01])
        + (2150 + noise.randrange(-90, 90)).to_bytes(2, "big")
        + noise.randrange(40, 60).to_bytes(1, "big")
        + (3600).to_bytes(2, "big")
        + count_up.to_bytes(3, "big")
        for count_up in range(count)
    ]


def random_payloads(count: int, size: int, seed: int = 1) -> list[bytes]:
    noise = seeded(seed)
    return [noise.randbytes(size) for _ in range(count)]


def test_sensor_payloads_under_the_right_key_confirm_it() -> None:
    judgement = judge_decryptions(decrypted(sensor_payloads(12), RIGHT))

    assert judgement.verdict is Verdict.CONFIRMED
    assert judgement.probability < 1e-20
    assert judgement.compared_bytes == 11 * 10


def test_two_short_texts_under_the_right_key_confirm_it() -> None:
    judgement = judge_decryptions(decrypted([b"32.5C/90.5F", b"29.9C/85.8F"], RIGHT))

    assert judgement.verdict is Verdict.CONFIRMED


def test_one_long_text_under_the_right_key_confirms_it() -> None:
    judgement = judge_decryptions(decrypted([b"door open since 10:42:07 hours"], RIGHT))

    assert judgement.verdict is Verdict.CONFIRMED
    assert judgement.compared_bytes == 0


def test_the_same_payloads_under_a_wrong_key_are_doubtful() -> None:
    judgement = judge_decryptions(decrypted(sensor_payloads(12), WRONG))

    assert judgement.verdict is Verdict.DOUBTFUL
    assert judgement.agreeing_bytes < 4


def test_texts_under_a_wrong_key_are_doubtful() -> None:
    payloads = [f"temperature={n}.5".encode() for n in range(10, 22)]

    assert judge_decryptions(decrypted(payloads, WRONG)).verdict is Verdict.DOUBTFUL


def test_no_frames_leave_a_key_untested() -> None:
    judgement = judge_decryptions([])

    assert judgement.verdict is Verdict.UNTESTED
    assert judgement.probability == 1.0


def test_too_few_bytes_do_not_speak_against_a_key() -> None:
    judgement = judge_decryptions(decrypted(random_payloads(8, 9), WRONG))

    assert judgement.compared_bytes == 63
    assert judgement.verdict is Verdict.UNTESTED


def test_sixty_four_bytes_speak_against_a_key() -> None:
    judgement = judge_decryptions(decrypted(random_payloads(9, 8, seed=3), WRONG))

    assert judgement.compared_bytes == 64
    assert judgement.verdict is Verdict.DOUBTFUL


def test_empty_payloads_say_nothing() -> None:
    assert judge_decryptions(decrypted([b""] * 100, RIGHT)).frames == 0


def test_a_frame_that_was_delivered_many_times_counts_once() -> None:
    once = decrypted(random_payloads(3, 20), WRONG)

    judgement = judge_decryptions(once * 100)

    assert judgement.frames == 3
    assert judgement.verdict is Verdict.UNTESTED


def test_a_ciphertext_seen_twice_counts_once_whatever_its_counter() -> None:
    frames = decrypted(random_payloads(1, 20), WRONG)
    copies = [DecryptedFrame(DEV_EUI, DEV_ADDR, 2, f_cnt, frames[0].encrypted, frames[0].clear) for f_cnt in range(50)]

    assert judge_decryptions(copies).frames == 1


def test_two_frames_of_one_counter_agree_under_any_key_and_count_once() -> None:
    same_counter = [frame for clear in sensor_payloads(40) for frame in decrypted([clear], WRONG, first_f_cnt=9)]

    judgement = judge_decryptions(same_counter)

    assert judgement.frames == 1
    assert judgement.verdict is not Verdict.CONFIRMED


def test_frames_of_different_devices_ports_or_lengths_are_not_compared() -> None:
    constant = bytes(16)
    frames = [
        *decrypted([constant], RIGHT, first_f_cnt=1),
        *decrypted([constant], RIGHT, first_f_cnt=2, dev_eui=DevEui("0016C001F004A481")),
        *decrypted([constant], RIGHT, first_f_cnt=3, f_port=3),
        *decrypted([constant + b"\0"], RIGHT, first_f_cnt=4),
    ]

    assert judge_decryptions(frames).compared_bytes == 0


def test_frames_of_two_sessions_of_one_device_are_compared() -> None:
    frames = [
        *decrypted(sensor_payloads(3), RIGHT),
        *decrypted(sensor_payloads(3), RIGHT, dev_addr=DevAddr("1556DC97")),
    ]

    assert judge_decryptions(frames).compared_bytes == 5 * 10


def test_payloads_that_came_in_the_clear_say_nothing_about_the_key() -> None:
    clear = sensor_payloads(12)
    frames = [
        DecryptedFrame(DEV_EUI, DEV_ADDR, 2, f_cnt, payload, decrypt_frm_payload(RIGHT, DEV_ADDR, f_cnt, payload))
        for f_cnt, payload in enumerate(clear)
    ]

    judgement = judge_decryptions(frames)

    assert judgement.verdict is Verdict.UNTESTED
    assert "12 frames came in the clear" in judgement.sentence


def test_the_order_of_the_frames_does_not_matter() -> None:
    frames = [
        *decrypted(sensor_payloads(60), RIGHT),
        *decrypted(random_payloads(60, 12), RIGHT, dev_eui=DevEui("0016C001F004A481")),
    ]
    shuffled = frames.copy()
    seeded(5).shuffle(shuffled)

    assert judge_decryptions(shuffled) == judge_decryptions(frames)


def test_the_work_is_bounded() -> None:
    frames = [
        frame
        for device in range(30)
        for frame in decrypted(sensor_payloads(60), RIGHT, dev_eui=DevEui(f"{device:016X}"))
    ]

    assert judge_decryptions(frames).frames == MAX_FRAMES


def test_the_sentence_has_the_numbers_and_no_payload() -> None:
    judgement = judge_decryptions(decrypted([b"opening hours 8:15", b"opening hours 9:30"], RIGHT))

    assert "2 stored frames" in judgement.sentence
    assert "of 18 compared bytes" in judgement.sentence
    assert "opening" not in judgement.sentence


def test_the_repr_of_a_frame_does_not_show_the_clear_payload() -> None:
    assert "opening" not in repr(decrypted([b"opening hours"], RIGHT)[0])


def test_hardly_any_wrong_key_is_confirmed_and_nearly_all_are_doubtful() -> None:
    payloads = sensor_payloads(20)
    keys = [AesKey(seeded(seed).randbytes(16)) for seed in range(200)]

    verdicts = [judge_decryptions(decrypted(payloads, key)).verdict for key in keys]

    assert Verdict.CONFIRMED not in verdicts
    assert verdicts.count(Verdict.DOUBTFUL) >= 190


@pytest.mark.parametrize("chance", [Fraction(1, 256), Fraction(98, 256)])
@pytest.mark.parametrize("trials", [0, 1, 2, 17, 64, 300])
def test_the_binomial_tail_is_exact(trials: int, chance: Fraction) -> None:
    terms = [comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(trials + 1)]

    for successes in range(trials + 1):
        exact = float(sum(terms[successes:]))
        assert binomial_tail(successes, trials, float(chance)) == pytest.approx(exact, rel=1e-9, abs=1e-300)


def test_the_binomial_tail_of_very_many_trials_does_not_overflow() -> None:
    assert binomial_tail(100_000, 100_000, 1 / 256) == 0.0
    assert binomial_tail(1, 100_000, 98 / 256) == 1.0
    assert 0.4 < binomial_tail(391, 100_000, 1 / 256) < 0.6

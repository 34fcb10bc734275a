"""entrorun's conversations: turns, what is known from before, a context that fills up, and interruptions."""

import signal
import subprocess

import pytest


@pytest.fixture(scope="module")
def directory(program, tiny, tmp_path_factory):
    """The small model, extracted. It was not trained to chat: the answers are nonsense, the same each time."""
    where = tmp_path_factory.mktemp("chat")
    subprocess.run([program("mkentrofs"), "--quiet", "--scheme", "mixed", tiny, where / "tiny.entrofs"], check=True)
    subprocess.run([program("entrofsck"), "--quiet", "--extract", where / "model", where / "tiny.entrofs"], check=True)
    return where / "model"


CHAT = ("-cnv", "--chat-template", "chatml", "--temp", "0", "-n", "8", "--ignore-eos", "--no-perf")
QUESTIONS = ["Once upon a time", "The capital of Norway"]


def chatml(questions, answers):
    text = ""
    for question, answer in zip(questions, [*answers, None]):
        text += f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        text += "" if answer is None else f"{answer}<|im_end|>\n"
    return text


def test_each_turn_sees_those_before_it(run, directory):
    done = run("entrorun", "run", "-m", directory, *CHAT, input="\n".join(QUESTIONS), check=True)
    # The same by hand: the conversation so far as a raw prompt.
    answers = []
    for i in range(len(QUESTIONS)):
        prompt = chatml(QUESTIONS[: i + 1], answers)
        raw = run("entrorun", "run", "-m", directory, "-no-cnv", "-p", prompt, "--temp", "0", "-n", "8", "--ignore-eos", "--no-perf", check=True)
        answers.append(raw.stdout.removesuffix("\n"))
    assert done.stdout == "".join(answer + "\n" for answer in answers)
    assert done.stderr == ""


def test_a_prompt_is_the_first_message_and_a_backslash_goes_on_in_the_next_line(run, directory):
    asked = run("entrorun", "run", "-m", directory, *CHAT, input="Once\nupon\\\na time\n", check=True).stdout
    assert run("entrorun", "run", "-m", directory, *CHAT, "-p", "Once", input="upon\\\na time", check=True).stdout == asked
    assert run("entrorun", "run", "-m", directory, *CHAT, "-p", "Once", "-e", input="upon\\\na time", check=True).stdout == asked
    assert run("entrorun", "run", "-m", directory, *CHAT, input="Once\nupon a time\n", check=True).stdout != asked


def test_what_has_been_run_is_not_run_again(run, directory):
    done = run("entrorun", "run", "-m", directory, *CHAT, "-v", input="\n".join(QUESTIONS), check=True)
    prompts = [line for line in done.stderr.splitlines() if line.startswith("prompt:")]
    assert len(prompts) == 2
    assert "known" not in prompts[0] and "known from before" in prompts[1]


def test_the_oldest_turns_are_forgotten_when_the_context_is_full(run, directory):
    questions = [f"Question {i}: {'tell me a story. ' * 4}" for i in range(6)]
    done = run("entrorun", "run", "-m", directory, *CHAT, "-c", "128", "-sys", "You are kind.", input="\n".join(questions), check=True)
    assert "forgotten" in done.stderr
    # And one message that is too long by itself is an error.
    done = run("entrorun", "run", "-m", directory, *CHAT, "-c", "128", input="story " * 200)
    assert done.returncode == 2 and "128" in done.stderr


def test_a_conversation_needs_a_template(run, directory):
    done = run("entrorun", "run", "-m", directory, "-cnv", input="x\n")
    assert done.returncode == 2 and "no chat template" in done.stderr and done.stderr.count("\n") == 1
    for arguments in [("-cnv", "-no-cnv"), ("-cnv", "-f", "-"), ("-cnv", "--chat-template", "nonsense")]:
        done = run("entrorun", "run", "-m", directory, *arguments, input="x\n")
        assert done.returncode == 2 and done.stderr.count("\n") == 1, arguments


def start(program, directory, *options):
    return subprocess.Popen(
        [program("entrorun"), "run", "-m", directory, *CHAT, "-t", "1", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_an_interruption_stops_the_answer_and_the_conversation_goes_on(program, directory):
    done = start(program, directory, "-n", "400")
    done.stdin.write(b"Once upon a time\n")
    done.stdin.flush()
    assert done.stdout.read(1)
    done.send_signal(signal.SIGINT)
    rest, errors = done.communicate(b"The capital\n", timeout=60)
    assert done.returncode == 0, errors
    assert rest.endswith(b"\n") and errors == b""


def test_an_interruption_between_answers_ends_the_conversation(program, directory):
    done = start(program, directory, "-n", "2")
    done.stdin.write(b"Once upon a time\n")
    done.stdin.flush()
    answer = b""
    while not answer.endswith(b"\n"):
        answer += done.stdout.read(1)
    # The line is read again soon after the answer's end; the signal is repeated in case it was not yet.
    for _ in range(100):
        done.send_signal(signal.SIGINT)
        try:
            done.wait(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            pass
    errors = done.stderr.read()
    assert done.returncode == 130 and errors == b"entrorun: interrupted\n"
    for stream in (done.stdin, done.stdout, done.stderr):
        stream.close()

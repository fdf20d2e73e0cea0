"""A task that a random model is sometimes right about, so that every group has better and worse."""

from rlrun.types import Grade, Prompt, Reward, Split


class MicroTask:
    """Ten sums; the reward counts the answer's characters that the completion has, by place."""

    def prompts(self, split: Split) -> tuple[Prompt, ...]:
        return tuple(
            Prompt(f"micro/{split}/{i}", "1" * (i % 3) + f"{i}+{9 - i}=", "9") for i in range(10)
        )

    def grade(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Grade:
        is_correct = completion_text.strip() == prompt.answer
        return Grade("correct" if is_correct else "wrong", completion_text)

    def reward(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Reward:
        digits = sum(character.isdigit() for character in completion_text) / 8
        length = len(completion_text) / 16
        return Reward(digits + length, {"digits": digits, "length": length})

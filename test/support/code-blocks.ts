/** The fenced code blocks of a Markdown text. */
export interface CodeBlock {
  /** Empty where the fence names none. */
  readonly language: string
  readonly text: string
}

export function codeBlocks(markdown: string): CodeBlock[] {
  return [...markdown.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((match) => ({
    language: match[1]!,
    text: match[2]!,
  }))
}

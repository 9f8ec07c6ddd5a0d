/** The topics beside the streams that `tail` prints; for its declaration, which loads nothing else, and for itself. */
export const tailTopics = ['predictions', 'rejected', 'models'] as const
export type TailTopic = (typeof tailTopics)[number]

/** One version for everything that is released together. */
export const productVersion = "0.1.0";

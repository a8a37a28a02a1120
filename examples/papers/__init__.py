"""What the reproductions of papers share: claims with their verdicts, and what a killed run keeps."""

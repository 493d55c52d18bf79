"""What a user sees: answers, comparisons and studies as tables, figures and pages."""
